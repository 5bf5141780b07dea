"""Image files of every format: found, known by their content, decoded, converted to sRGB."""
