"""A Google Cloud on loopback: the services that Tidegate asks, held to Google's own documents."""
