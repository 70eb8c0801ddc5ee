"""The lab on a SYN that is lost: it is sent again, later and later, until it is answered."""
