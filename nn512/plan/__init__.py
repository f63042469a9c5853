"""From program to plan: layouts, lifetimes and places in memory."""
