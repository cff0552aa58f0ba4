"""How the house is run: `embedded` is the whole stack as processes of one machine, `setup` makes its environments."""
