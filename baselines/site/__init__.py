"""What pages share that need no network: style sheets, charts' libraries, safe text; diagnosis."""
