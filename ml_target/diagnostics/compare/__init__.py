"""`compare`: do two workers answer alike, and what must run again in Immich if one replaces the other?"""
