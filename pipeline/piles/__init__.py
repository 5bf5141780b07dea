"""What is wrong with the images of a pile, before anything is trained on them."""
