"""Signature formats: raw, CMS; and verifying them. ``registry`` lists the formats; each is imported when used."""
