"""How the networks of both trainings learn: learners, discriminators, precision, VGG19."""
