"""The commands, and the sample cloud."""
