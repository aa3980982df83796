"""What is kept, and for how long: retention, erasure, what ElevenLabs is asked for about the past, and the jobs."""
