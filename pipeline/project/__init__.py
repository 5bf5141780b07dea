"""The settings of a whole project: JSON schemas, faults of a file, a file for somebody's images."""
