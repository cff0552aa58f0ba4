"""What the pages show, built from events alone: no Streamlit, no bus, so that it is tested as it is."""
