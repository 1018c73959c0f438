"""What is done beside the handlers: appending, looking at what was appended, signing it, verifying it."""
