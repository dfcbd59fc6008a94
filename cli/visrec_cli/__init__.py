"""The `visrec` command."""
