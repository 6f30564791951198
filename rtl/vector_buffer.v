// SPDX-License-Identifier: Apache-2.0
//
// Holds a vector of CHUNKS beats and gives it out REPEATS times in a row, while the next vector
// comes in. The first pass follows close behind the vector's arrival.
//
// Latency: 2 clocks.

`default_nettype none

module vector_buffer #(
    parameter WIDTH   = 8,  // bits of a beat
    parameter CHUNKS  = 1,  // beats of a vector
    parameter REPEATS = 1   // times that each vector is given out
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);

    localparam ADDR_WIDTH   = $clog2(2*CHUNKS);
    localparam REPEAT_WIDTH = (REPEATS > 1) ? $clog2(REPEATS) : 1;
    localparam LEAD_WIDTH   = $clog2(2*CHUNKS + 1);
    localparam [ADDR_WIDTH-1:0]   START_0     = 0;
    localparam [ADDR_WIDTH-1:0]   START_1     = CHUNKS[ADDR_WIDTH-1:0];
    localparam [ADDR_WIDTH-1:0]   LAST_0      = START_1 - 1'b1;
    localparam [ADDR_WIDTH-1:0]   LAST_1      = START_1 + LAST_0;
    localparam [REPEAT_WIDTH-1:0] REPEAT_LAST = REPEATS[REPEAT_WIDTH-1:0] - 1'b1;

    // Two halves: one is given out, the other takes the next vector.
    reg [1:0]              full_reg = 0;  // halves that hold a whole vector
    reg [ADDR_WIDTH-1:0]   write_addr_reg = 0, read_addr_reg = 0;
    reg                    write_half_reg = 1'b0, read_half_reg = 1'b0;
    reg [REPEAT_WIDTH-1:0] repeat_reg = 0;
    reg [LEAD_WIDTH-1:0]   lead_reg = 0;  // beats written that no first pass has read yet
    reg                    out_valid_reg = 1'b0;

    // A later pass finds the whole vector, a first pass what has come in.
    wire write       = s_axis_tvalid && s_axis_tready;
    wire write_last  = write && write_addr_reg == (write_half_reg ? LAST_1 : LAST_0);
    wire first_pass  = repeat_reg == 0;
    wire read        = (!first_pass || lead_reg != 0) && (!out_valid_reg || m_axis_tready);
    wire pass_last   = read && read_addr_reg == (read_half_reg ? LAST_1 : LAST_0);
    wire vector_last = pass_last && repeat_reg == REPEAT_LAST;
    wire write_half  = write_half_reg ^ write_last;
    wire read_half   = read_half_reg ^ vector_last;

    assign s_axis_tready = !full_reg[1];
    assign m_axis_tvalid = out_valid_reg;

    line_memory #(
        .WIDTH(WIDTH), .DEPTH(2*CHUNKS)
    ) vectors (
        .clk(clk),
        .write(write),
        .write_addr(write_addr_reg),
        .write_data(s_axis_tdata),
        .read(read),
        .read_addr(read_addr_reg),
        .read_data(m_axis_tdata)
    );

    always @(posedge clk) begin
        write_half_reg <= write_half;
        read_half_reg  <= read_half;
        if (write)
            write_addr_reg <= !write_last ? write_addr_reg + 1'b1 : write_half ? START_1 : START_0;
        if (read)
            read_addr_reg <= !pass_last ? read_addr_reg + 1'b1 : read_half ? START_1 : START_0;
        if (write && !(read && first_pass))
            lead_reg <= lead_reg + 1'b1;
        else if (!write && read && first_pass)
            lead_reg <= lead_reg - 1'b1;
        if (pass_last)
            repeat_reg <= vector_last ? {REPEAT_WIDTH{1'b0}} : repeat_reg + 1'b1;
        if (write_last && !vector_last)
            full_reg <= full_reg + 1'b1;
        else if (vector_last && !write_last)
            full_reg <= full_reg - 1'b1;
        if (!out_valid_reg || m_axis_tready)
            out_valid_reg <= read;
        if (rst) begin
            full_reg       <= 0;
            write_addr_reg <= 0;
            read_addr_reg  <= 0;
            write_half_reg <= 1'b0;
            read_half_reg  <= 1'b0;
            repeat_reg     <= 0;
            lead_reg       <= 0;
            out_valid_reg  <= 1'b0;
        end
    end

endmodule

`default_nettype wire
