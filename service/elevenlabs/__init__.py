"""ElevenLabs: its words, its faults, its routes. `elevenlabs_service` is the door; the rest stands behind it."""
