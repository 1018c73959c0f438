from deployer.serving.process import main

main()
