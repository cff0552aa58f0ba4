"""Labels of people become dataset versions: Label Studio on one side, the bus on the other."""
