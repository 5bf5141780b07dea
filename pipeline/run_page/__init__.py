"""The page of a run: what ``dvc repro`` made, in one HTML file that one can send to a colleague.

It reads what the stages wrote and runs none of them.  A part that a run does not have is left out
with a sentence that says so.
"""
