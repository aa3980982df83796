"""`make image-test`: the Dockerfile is built and docker-compose.yml run, without a registry of images."""
