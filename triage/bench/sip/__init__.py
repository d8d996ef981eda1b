"""SIP as the bench speaks it: messages, transactions, dialogs, transfers, and the agent that joins them."""
