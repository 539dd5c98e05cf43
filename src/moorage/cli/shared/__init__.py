"""What commands of all kinds share: consoles, forms of answers, exit statuses, names."""
