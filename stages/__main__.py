"""``python -m stages``: the command ``usrdu`` with the code of the folder that it is called in."""

from stages.cli import main

main(prog_name="usrdu")
