"""Everything dies, at random and all the time, and an accountant looks at what is left."""
