"""Services that train: a job with the user's image, code and rows, and the model it leaves."""
