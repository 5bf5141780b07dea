"""The stage ``prepare``: image files into stores."""
