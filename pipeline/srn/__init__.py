"""Super-resolution networks (SRN), built and opened through spandrel."""
