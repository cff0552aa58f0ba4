"""`loopline demo`: the story, the turns read from it, the report."""
