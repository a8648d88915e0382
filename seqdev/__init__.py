"""seqdev: enrols people into message sequences, processes what is due, finds and repairs what went wrong."""

__version__ = "0.1.0"
