"""The client port: RESP2 and RESP3, on hiredis. Knows no command of any system's state machine."""
