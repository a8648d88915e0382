"""Looking ahead: what every device will have to send."""
