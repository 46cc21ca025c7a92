"""Who may use which table: requests, review and approval, grants, stops, notices."""
