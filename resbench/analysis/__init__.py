"""What results say: figures and groups of them in, statements out. Nothing here measures, draws or writes pages."""
