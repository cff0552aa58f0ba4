"""The command `loopline`: publish, watch, ask, operate."""
