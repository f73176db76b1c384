"""What all commands share: options, configuration, output and exit statuses."""
