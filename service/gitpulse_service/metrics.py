"""The service's Prometheus metrics: names, help texts, labels, all in one place."""
