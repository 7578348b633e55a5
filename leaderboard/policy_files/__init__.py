"""What a policy file may consist of."""
