"""Agent programs: generators that yield system calls and do no I/O."""
