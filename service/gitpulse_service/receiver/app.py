"""The receiver's FastAPI application."""
