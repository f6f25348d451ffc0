"""What runs for as long as the process does: Kopf, the queue, the Lease, health, metrics, logs. Only here is
kopf imported."""
