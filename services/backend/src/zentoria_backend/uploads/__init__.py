"""What is on its way into S3: in one request, or in several by tus 1.0."""
