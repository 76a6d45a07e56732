"""What a trained model finds in a user's image files: tables, and pictures with boxes."""
