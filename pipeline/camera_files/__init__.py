"""Files as cameras write them: raw photographs, developed, and video clips, drawn from."""
