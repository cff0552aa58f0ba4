"""Approved version -> rolled out over the Triton nodes, checked on its golden images, before any traffic goes to it."""
