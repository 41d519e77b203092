"""What GitLab puts into a delivery's body, one module an event family. Pure: records in, plain data out."""
