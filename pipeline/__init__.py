"""USR-DU: unsupervised real-world super-resolution with learned degradation uncertainty.

The library behind the ``usrdu`` commands.  It knows no command line, no environment variable and no
``params.yaml``: settings and paths are arguments.
"""
