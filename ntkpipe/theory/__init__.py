"""What is known without sampling: exact finite-width moments and double-scaling limits."""
