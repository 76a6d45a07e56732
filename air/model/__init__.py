"""The science: a generative model of scenes, the guide that infers them, and their parts."""
