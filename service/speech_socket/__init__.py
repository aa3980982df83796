"""Speech over a socket, in ElevenLabs' protocol: a client's text goes to whoever speaks, the sound comes back."""
