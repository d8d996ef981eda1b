"""What is asked, in which order, and what is made of the answers. Rules decide; a model only words."""
