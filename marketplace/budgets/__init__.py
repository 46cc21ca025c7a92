"""What may still be lost: cohorts' caps, tenants' allotments, and an independent recount."""
