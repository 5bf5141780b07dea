"""Image files, filters of images, and pictures for people."""
